"""What of the documentation is made from the code: tables, a picture, the manual page, the site."""
