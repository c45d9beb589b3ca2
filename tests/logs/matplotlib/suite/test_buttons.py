import pytest
from matplotlib.backend_bases import MouseButton


def name(value):
    return f"MouseButton.{value.name}" if isinstance(value, MouseButton) else None


@pytest.mark.parametrize("button, side", [(MouseButton.LEFT, "left"), (MouseButton.RIGHT, "right")], ids=name)
def test_click(button, side):
    pass


@pytest.mark.parametrize("button", [MouseButton.LEFT], ids=lambda button: f"MouseButton.{button.name}")
def test_fails(button):
    assert button is None, "no - button"
