"""Web functions inside the container: the connection to the edge, and adapters to what answers requests.

What belongs here turns a request into a call of the user's ASGI or WSGI app, or of the program at a port, and what
that says into a response. Only the standard library; FastAPI comes from the user's image where it is asked for.
"""
