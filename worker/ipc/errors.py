"""What can go wrong between the worker's processes."""


class PortalAway(Exception):
    """The broker did not accept a message. A later attempt may succeed."""
