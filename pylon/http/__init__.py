"""A small ASGI kernel: request, response, router and the pipeline of named stages.

It knows no Pylon noun: no entity, no policy, no session. What it needs from elsewhere (who is
asking, what a route does) is handed in as callables by the composition root.
"""
