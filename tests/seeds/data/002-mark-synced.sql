UPDATE sensor_readings SET synced = 1 WHERE id IN (1, 2, 3, ...)
