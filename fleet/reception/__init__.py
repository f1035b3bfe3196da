"""The receiving end of a sweep, over HTTP."""
