"""The one loop that every method runs in, and what it is made of: recipe, report, meter, metrics, precision."""
