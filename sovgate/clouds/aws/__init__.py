"""AWS and what speaks its protocols: client, answers, environment."""
