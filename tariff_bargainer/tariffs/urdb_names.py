"""The names of the URDB bulk download, put into the names of the URDB service.

The service writes `energyratestructure`, the download of the whole database `energyRateStrux` with
a table around the blocks of each period; SAM reads `coincidentschedule` from the service, whose
page calls it `coincidentrateschedule`. A name is only translated where its meaning is certain;
any other name stays as it is and is refused if it could cost money.

Source: field names of OpenEI's bulk file `usurdb.json` and of its `util_rates` service.
"""

from typing import Any

from tariff_bargainer.errors import TariffFileError

BULK_NAMES = {
    "energyRateStrux": "energyratestructure",
    "energyWeekdaySched": "energyweekdayschedule",
    "energyWeekendSched": "energyweekendschedule",
    "demandRateStrux": "demandratestructure",
    "demandWeekdaySched": "demandweekdayschedule",
    "demandWeekendSched": "demandweekendschedule",
    "demandRateUnits": "demandrateunit",
    "demandRatchetPct": "demandratchetpercentage",
    "flatDemandStrux": "flatdemandstructure",
    "flatDemandMonths": "flatdemandmonths",
    "flatDemandUnits": "flatdemandunit",
    "coincidentRateStrux": "coincidentratestructure",
    "coincidentSched": "coincidentrateschedule",
    "coincidentschedule": "coincidentrateschedule",
    "coincidentRateUnits": "coincidentrateunit",
    "fixedChargeFirstMeter": "fixedchargefirstmeter",
    "fixedChargeEaAddl": "fixedchargeeaaddl",
    "fixedChargeUnits": "fixedchargeunits",
    "minCharge": "mincharge",
    "minChargeUnits": "minchargeunits",
    "annualMinCharge": "annualmincharge",
    "effectiveDate": "startdate",
    "endDate": "enddate",
    "utilityName": "utility",
    "rateName": "name",
    "energyKeyVals": "energyattrs",
    "demandKeyVals": "demandattrs",
    "fixedKeyVals": "fixedattrs",
    "demandMin": "peakkwcapacitymin",
    "demandMax": "peakkwcapacitymax",
    "energyMin": "peakkwhusagemin",
    "energyMax": "peakkwhusagemax",
}
LOWERED = (
    "demandWindow", "dgRules", "lookbackPercent", "lookbackMonths", "lookbackRange",
    "useNetMetering", "demandReactivePowerCharge", "demandRatchetPercentage", "demandUnits",
    "energyComments", "demandComments", "basicInformationComments", "isDefault",
)  # fmt: skip
"""Names that only differ in capitals."""
BLOCKS_OF = {
    "energyratestructure": "energyRateTiers",
    "demandratestructure": "demandRateTiers",
    "flatdemandstructure": "flatDemandTiers",
    "coincidentratestructure": "coincidentRateTiers",
}
DATES = ("startdate", "enddate")


def with_service_names(rate: Any) -> Any:
    """Give a rate of the bulk download the names and shapes of the service.

    Args:
        rate: The parsed rate; it is not changed. A rate with the service's names comes back equal.

    Raises:
        TariffFileError: A field stands there under both names.
    """
    if not isinstance(rate, dict):
        return rate
    names: dict[Any, str] = {**BULK_NAMES, **{name: name.lower() for name in LOWERED}}
    renamed: dict[str, Any] = {}
    for key, found in rate.items():
        name = names.get(key, str(key))
        if name in renamed or (name != key and name in rate):
            raise TariffFileError(
                where=str(key),
                problem=f"stands beside {name}, which is the same field",
                remedy="keep one of the two",
            )
        renamed[name] = found
    for name, wrapper in BLOCKS_OF.items():
        if isinstance(renamed.get(name), list):
            renamed[name] = [_unwrapped(entry, wrapper) for entry in renamed[name]]
    for name in DATES:
        found = renamed.get(name)
        if isinstance(found, dict) and set(found) == {"$date"}:
            renamed[name] = found["$date"]
    return renamed


def _unwrapped(entry: Any, wrapper: str) -> Any:
    if isinstance(entry, dict) and set(entry) == {wrapper}:
        return entry[wrapper]
    return entry
