"""A driver that says a lot and then fails."""

for line in range(500):
    print(f"line {line} of the driver", flush=True)
raise ValueError("the input is empty")
