SELECT * FROM sensor_readings WHERE synced = 0 ORDER BY timestamp ASC LIMIT 100
