"""What people start with and look at: projects, machines, keys, data, the record of it all."""
