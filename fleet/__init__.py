"""The operator's side of the simulator: command line, configuration, identities, aggregator."""
