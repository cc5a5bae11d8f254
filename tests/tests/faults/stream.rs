//! Reads the DynamoDB stream of the table Purchases.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::cloud::{Cloud, PURCHASES};

pub(crate) struct Stream {
    cloud: Arc<Cloud>,
    iterator: Value,
}

impl Stream {
    /// Opens the stream of the table Purchases at its oldest record.
    pub(crate) async fn open(cloud: &Arc<Cloud>) -> Self {
        let call = async |operation, input| call(cloud, operation, input).await;
        let mut streams = call("ListStreams", json!({"TableName": PURCHASES})).await;
        let arn = streams["Streams"][0]["StreamArn"].take();
        let described = call("DescribeStream", json!({"StreamArn": arn})).await;
        let shard = &described["StreamDescription"]["Shards"][0]["ShardId"];
        let start = json!({
            "StreamArn": arn, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON",
        });
        let iterator = call("GetShardIterator", start).await["ShardIterator"].take();
        Self {
            cloud: Arc::clone(cloud),
            iterator,
        }
    }

    /// Returns the records that were written since the last call of this function, or since the
    /// beginning of the stream.
    pub(crate) async fn read(&mut self) -> Vec<Value> {
        let input = json!({"ShardIterator": self.iterator});
        let mut read = call(&self.cloud, "GetRecords", input).await;
        self.iterator = read["NextShardIterator"].take();
        match read["Records"].take() {
            Value::Array(records) => records,
            _ => Vec::new(),
        }
    }
}

async fn call(cloud: &Cloud, operation: &str, input: Value) -> Value {
    let target = format!("DynamoDBStreams_20120810.{operation}");
    cloud.dynamodb(&target, &input).await
}
