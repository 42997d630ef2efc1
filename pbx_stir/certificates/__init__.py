"""Where certificates come from: configured anchors, and x5u URLs under the egress rule."""
