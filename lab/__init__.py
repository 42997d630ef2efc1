"""What the tests and the demo run against: real PBXs, unpacked privately. Not part of the wheel."""
