"""Builders of bank files, written by hand from the ISO 20022 message definitions."""

OWN_IBAN = "NL91ABNA0417164300"


def statement_xml(entries, opening="1000.00", closing=None, iban=OWN_IBAN, version="08", day=None):
    """A camt.053 with entries `(amount, direction, inner XML)`."""
    day = day or "2026-10-05"
    total = sum(float(amount) * (1 if way == "CRDT" else -1) for amount, way, _ in entries)
    closing = closing or f"{float(opening) + total:.2f}"
    booked = "<Sts><Cd>BOOK</Cd></Sts>" if version >= "08" else "<Sts>BOOK</Sts>"
    lines = "".join(
        f'<Ntry><Amt Ccy="EUR">{amount}</Amt><CdtDbtInd>{way}</CdtDbtInd>{booked}'
        f"<BookgDt><Dt>{day}</Dt></BookgDt>{inner}</Ntry>"
        for amount, way, inner in entries
    )
    return (
        f'<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.{version}"><BkToCstmrStmt>'
        f"<Stmt><Id>ST-{day}</Id><Acct><Id><IBAN>{iban}</IBAN></Id><Ccy>EUR</Ccy></Acct>"
        f"{_balance('OPBD', opening, day)}{_balance('CLBD', closing, day)}{lines}"
        "</Stmt></BkToCstmrStmt></Document>"
    ).encode()


def details(end_to_end_id, extra="", reference=""):
    """The inner part of an entry about one payment."""
    bank = f"<AcctSvcrRef>{reference}</AcctSvcrRef>" if reference else ""
    return (
        f"{bank}<NtryDtls><TxDtls><Refs><EndToEndId>{end_to_end_id}</EndToEndId></Refs>{extra}"
        "</TxDtls></NtryDtls>"
    )


def returned(code="AC04"):
    """The mark of a return inside an entry's details."""
    return f"<RtrInf><Rsn><Cd>{code}</Cd></Rsn></RtrInf>"


def status_xml(batch_id, transactions=(), group=None, reason=None):
    """A pain.002 about a file, with `(end-to-end id, status, reason)`."""
    group_part = f"<GrpSts>{group}</GrpSts>" if group else ""
    reason_part = f"<StsRsnInf><Rsn><Cd>{reason}</Cd></Rsn></StsRsnInf>" if reason else ""
    inner = "".join(
        f"<TxInfAndSts><OrgnlEndToEndId>{end_to_end_id}</OrgnlEndToEndId><TxSts>{status}</TxSts>"
        f"<StsRsnInf><Rsn><Cd>{code}</Cd></Rsn></StsRsnInf></TxInfAndSts>"
        for end_to_end_id, status, code in transactions
    )
    return (
        '<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pain.002.001.10"><CstmrPmtStsRpt>'
        f"<OrgnlGrpInfAndSts><OrgnlMsgId>{batch_id}</OrgnlMsgId>{group_part}{reason_part}"
        f"</OrgnlGrpInfAndSts><OrgnlPmtInfAndSts>{inner}</OrgnlPmtInfAndSts>"
        "</CstmrPmtStsRpt></Document>"
    ).encode()


def _balance(code, amount, day):
    return (
        f'<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp><Amt Ccy="EUR">{amount}</Amt>'
        f"<CdtDbtInd>CRDT</CdtDbtInd><Dt><Dt>{day}</Dt></Dt></Bal>"
    )
