"""The way in and out for clients: HTTP and server-sent events. Knows the log only as a protocol (`RequestLog`)."""

from alto_streams.gateway.app import create_gateway, server
from alto_streams.gateway.interfaces import PipelineInfo, RequestLog

__all__ = ["PipelineInfo", "RequestLog", "create_gateway", "server"]
