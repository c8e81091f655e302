"""What a push is asked, what it sends and brings, and how it goes on after one that ended early."""
