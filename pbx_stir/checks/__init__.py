"""What ``pbx-stir check`` looks at: files first, then what they name on the network."""
