"""The OpenAPI 3.1 document of a server, made from its routing table and its manifest."""
