"""The target `kafka:`: readings as messages in a topic of Kafka."""
