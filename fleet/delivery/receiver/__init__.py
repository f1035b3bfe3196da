"""`fleet receive`: an HTTP server that takes readings and stores them."""
