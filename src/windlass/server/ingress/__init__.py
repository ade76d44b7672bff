"""The web's door: HTTP from browsers and programs, passed on to containers as inputs of functions.

What belongs here knows HTTP, or the connection by which bytes go to runners and come back. Which function answers,
and what its input is, is said by ``apply``; containers are made by the scheduler, as for any call. A stranger to
``api``: whatever is said here is said by nobody known.
"""
