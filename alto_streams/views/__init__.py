"""What a client has heard of a request, and how a pipeline's requests are shown. Pure."""

from alto_streams.views.timeline import Bar
from alto_streams.views.transcript import Item, Transcript
from alto_streams.views.view import Row, View

__all__ = ["Bar", "Item", "Row", "Transcript", "View"]
