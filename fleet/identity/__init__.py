"""Who the sensors are: identities that are read or minted, and who takes part."""
