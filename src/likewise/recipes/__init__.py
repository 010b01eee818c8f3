"""One short file for each published system, composed of what is below; and the demo."""

__all__: list[str] = []
