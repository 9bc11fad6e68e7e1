"""What several methods share: settings said once, and parts of recipes."""
