"""Places attachments come from."""
