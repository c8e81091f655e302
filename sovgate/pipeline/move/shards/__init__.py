"""One release by several machines: each sends a shard of it, and one of them joins the parts."""
