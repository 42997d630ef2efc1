"""The PBX's side: what the dialplan announces, and how it is answered."""
