"""From a received release to the Git commit that serves it, and back."""
