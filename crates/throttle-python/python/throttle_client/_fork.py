"""What happens when this process forks."""

import os

from . import _event_loop, _native


def register() -> None:
    """Pauses native work during each fork, and separates the child from its parent's sockets."""
    if not hasattr(os, "register_at_fork"):
        return
    os.register_at_fork(
        before=_native.before_fork,
        after_in_parent=_native.after_fork_in_parent,
        after_in_child=_native.after_fork_in_child,
    )
    # A child must not read the bytes that are meant for its parent.
    os.register_at_fork(after_in_child=_event_loop.forget_readers)
