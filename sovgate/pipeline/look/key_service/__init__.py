"""Keys where they are held: asked what they are, and made. No secret half ever comes from there."""
