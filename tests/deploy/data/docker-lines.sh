docker run -v $(pwd)/data:/app/data -e SENSOR_ID=SENSOR001 sensor-simulator

docker run -v $(pwd)/data:/app/data \
  $REGISTRY/bacalhau-project/sensor-log-generator:latest

docker run -v $(pwd)/data:/app/data \
  -e SENSOR_ID=SENSOR_NYC_001 \
  -e SENSOR_LOCATION="New York Factory Floor 3" \
  $REGISTRY/bacalhau-project/sensor-log-generator:latest

docker run -v $(pwd)/data:/app/data sensor-simulator

docker run -v $(pwd)/data:/app/data \
  -v $(pwd)/my-config.yaml:/app/config.yaml \
  sensor-simulator

docker run -v $(pwd)/data:/app/data \
  -e SENSOR_FIRMWARE="1.4" \
  sensor-simulator

docker run -v $(pwd)/data:/app/data \
  -e SENSOR_FIRMWARE="3.0.0-beta" \
  sensor-simulator

docker run -v $(pwd)/data:/app/data \
  -e SQLITE_TMPDIR=/app/data/tmp \
  -e CONFIG_FILE=/app/config.yaml \
  -e IDENTITY_FILE=/app/identity.json \
  sensor-simulator

   docker run -v $(pwd)/data:/app/data \
              -e SENSOR_ID=CUSTOM001 \
              -e SENSOR_LOCATION="Custom Location" \
              sensor-simulator

  docker run -d \
    -v $(pwd)/config.yaml:/app/config.yaml \
    -v $(pwd)/$identity_file:/app/node_identity.json \
    -v $(pwd)/data:/app/data \
    --name "sensor_${sensor_id}" \
    sensor-simulator
