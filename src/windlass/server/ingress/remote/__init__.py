"""The door for users on other machines: lines over WebSockets and HTTP requests, with TLS."""
