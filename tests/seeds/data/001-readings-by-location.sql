SELECT 
  location,
  COUNT(*) as readings,
  AVG(temperature) as avg_temperature,
  AVG(vibration) as avg_vibration
FROM sensor_readings
GROUP BY location
ORDER BY readings DESC;
