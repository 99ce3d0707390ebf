/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the fixed tables cannot say: the PCI host bridge and its windows, the legacy devices, and
 * how to power off. Run through the C preprocessor with layout.h in front (see dsdt.sh), so the
 * addresses here are those of the machine. There is no interrupt routing table: PCI devices use
 * MSI-X alone. CPUs are in the MADT.
 */
DefinitionBlock ("dsdt.aml", "DSDT", 2, "FASTVM", "FASTVMM ", 1)
{
	/* SLP_TYP 0 in PM1a_CNT powers off. */
	Name (\_S5, Package () { 0, 0, 0, 0 })

	Scope (\_SB)
	{
		Device (PCI0)
		{
			Name (_HID, EisaId ("PNP0A08"))
			Name (_CID, EisaId ("PNP0A03"))
			Name (_UID, 0)
			Name (_SEG, 0)
			Name (_BBN, 0)
			Name (_CRS, ResourceTemplate ()
			{
				WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode,
					0, 0, 0, 0, 1)
				IO (Decode16, LAYOUT_PORT_PCI, LAYOUT_PORT_PCI, 1, 8)
				WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
					0, 0x0000, 0x0CF7, 0, 0x0CF8)
				WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
					0, 0x0D00, 0xFFFF, 0, 0xF300)
				DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed,
					NonCacheable, ReadWrite, 0, LAYOUT_PCI_WINDOW,
					LAYOUT_PCI_WINDOW_LAST, 0, LAYOUT_PCI_WINDOW_SIZE)
			})

			/* The firmware wants none of the features that the OS may ask to control. */
			Method (_OSC, 4)
			{
				If (Arg0 == ToUUID ("33DB4D5B-1FF7-401C-9657-7441C03DD766"))
				{
					Return (Arg3)
				}
				CreateDWordField (Arg3, 0, CDW1)
				CDW1 |= 4 /* unrecognized UUID */
				Return (Arg3)
			}
		}

		/* ECAM, which must be reserved by a device outside the bridge (PCI Firmware 3.2, 4.1.2). */
		Device (ECAM)
		{
			Name (_HID, EisaId ("PNP0C02"))
			Name (_UID, 0)
			Name (_CRS, ResourceTemplate ()
			{
				Memory32Fixed (ReadWrite, LAYOUT_ECAM, LAYOUT_ECAM_SIZE)
			})
		}

		Device (PMIO)
		{
			Name (_HID, EisaId ("PNP0C02"))
			Name (_UID, 1)
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, LAYOUT_PORT_PM1_EVT, LAYOUT_PORT_PM1_EVT, 1, 12)
			})
		}

		Device (COM1)
		{
			Name (_HID, EisaId ("PNP0501"))
			Name (_UID, 1)
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, LAYOUT_PORT_COM1, LAYOUT_PORT_COM1, 1, 8)
				IRQNoFlags () { LAYOUT_IRQ_COM1 }
			})
		}

		Device (COM2)
		{
			Name (_HID, EisaId ("PNP0501"))
			Name (_UID, 2)
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, LAYOUT_PORT_COM2, LAYOUT_PORT_COM2, 1, 8)
				IRQNoFlags () { LAYOUT_IRQ_COM2 }
			})
		}

		Device (RTC)
		{
			Name (_HID, EisaId ("PNP0B00"))
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, LAYOUT_PORT_CMOS, LAYOUT_PORT_CMOS, 1, 2)
				IRQNoFlags () { LAYOUT_IRQ_RTC }
			})
		}

		Device (PEVT)
		{
			Name (_HID, "QEMU0001")
			Name (_UID, 0)
			Name (_STA, 0x0B)
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, LAYOUT_PORT_PVPANIC, LAYOUT_PORT_PVPANIC, 1, 1)
			})
		}
	}
}
