SELECT 
    COUNT(*) as total_readings,
    SUM(CASE WHEN synced = 1 THEN 1 ELSE 0 END) as synced_readings,
    SUM(CASE WHEN synced = 0 THEN 1 ELSE 0 END) as unsynced_readings
FROM sensor_readings
