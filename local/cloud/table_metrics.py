"""The metrics of DynamoDB tables and their indexes: the consumed capacity."""

from ministack.services import dynamodb

from monitoring import record


def add_consumed_capacity(result, data, table, write=False, **options):
    """Adds the consumed capacity to the result of an operation as ministack does, and records it."""
    consumed = {}
    add(consumed, data | {"ReturnConsumedCapacity": "INDEXES"}, table, write, **options)
    capacity = consumed["ConsumedCapacity"]
    record_capacity(write, capacity["Table"]["CapacityUnits"], {"TableName": table})
    for index, units in capacity.get("GlobalSecondaryIndexes", {}).items():
        record_capacity(write, units["CapacityUnits"], {"TableName": table, "GlobalSecondaryIndexName": index})
    add(result, data, table, write, **options)


def record_capacity(write, units, dimensions):
    """Records consumed capacity of a table or of an index."""
    record("AWS/DynamoDB", f"Consumed{'Write' if write else 'Read'}CapacityUnits", units, dimensions)


def with_capacity(handle, write):
    """Returns a function that handles a transaction, and records two units per item. An item is assumed to be small."""

    def handle_transaction(data):
        response = handle(data)
        if response[0] == 200:
            for item in data["TransactItems"]:
                for operation in item.values():
                    record_capacity(write, 2, {"TableName": operation["TableName"].split("/")[-1]})
        return response

    return handle_transaction


add, dynamodb._add_consumed_capacity = dynamodb._add_consumed_capacity, add_consumed_capacity
dynamodb._transact_write_items = with_capacity(dynamodb._transact_write_items, write=True)
dynamodb._transact_get_items = with_capacity(dynamodb._transact_get_items, write=False)
