"""The portal: web pages, API, console and the domain logic behind them."""
