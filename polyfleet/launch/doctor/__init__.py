"""What would fail before it does: looks, asks, and changes nothing. Nothing here may start, rent or send a prompt."""

from polyfleet.launch.doctor.finding import Finding, Verdict
from polyfleet.launch.doctor.look import examine, machine

__all__ = ["Finding", "Verdict", "examine", "machine"]
