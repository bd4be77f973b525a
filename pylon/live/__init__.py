"""The one way to write to a socket: outlets and their bounds."""
