"""The comparison of delivered readings with the generated ones: `fleet verify --against`."""
