"""Who somebody is: sessions, the credential of a request, the session cookie.

Knows neither HTTP objects nor rows: callers (`api/auth`, `api/live`, `app`) hand in header values
as text and get an `Identity` or a `Session` back.
"""
