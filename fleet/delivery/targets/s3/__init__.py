"""The target `s3:`: files of readings of all sensors as objects in a bucket of S3, or of a server that speaks its protocol."""
