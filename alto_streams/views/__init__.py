"""What a client has heard of a request, and how a pipeline's requests are shown. Pure."""
