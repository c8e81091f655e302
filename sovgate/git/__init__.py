"""Git by subprocess: programs run, URLs judged, a private repository and its trees."""
