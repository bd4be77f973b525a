"""Who is asking, over HTTP: the identity stage and the routes under `/api/auth/`."""
