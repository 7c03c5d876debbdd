"""HTTP/1.1 on both sides: clients in front, engines behind."""
