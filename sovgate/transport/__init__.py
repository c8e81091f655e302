"""How servers are reached: private roots for TLS, a proxy. The command line alone names them."""
