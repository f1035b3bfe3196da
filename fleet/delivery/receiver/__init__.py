"""The receiver of `fleet receive`: an HTTP server that stores readings in a central database."""
