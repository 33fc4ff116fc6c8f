"""Greets whoever the event names. Set the variable GREETING to greet otherwise."""
import os

GREETING = os.environ.get("GREETING", "Hello")


def lambda_handler(event, context):
    name = event.get("name", "world")
    print("greeting", name)
    return {
        "message": f"{GREETING}, {name}!",
        "function": context.function_name,
        "milliseconds_left": context.get_remaining_time_in_millis(),
    }
