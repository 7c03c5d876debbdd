"""Replicas on machines that SkyPilot rents: one cluster for each machine, one job for each replica on it.

`engine` is SkyPilot in a process of its own, and imports nothing of polyfleet; `talk` starts it and asks it, `client`
says what can be asked, `fake` stands in for it in tests, yours too. `names` and `notes` say what is whose, `task` what
SkyPilot is handed, `refusals` what its errors mean, `refusal_book` keeps them. `sight` looks again and again, `reading`
says what was seen. `checking` asks before anything is rented, `offers` goes through what a machine may be rented as,
`bringing` has a replica come up, `ending` ends it, `driver` is the launcher's seam.
"""
